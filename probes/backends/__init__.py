"""Where facts about GPUs come from: NVML, sysfs, and the fake one of tests and demos."""
