"""What is a good value? Thresholds as data, by GPU model, form factor, PCIe and fabric."""
