"""How fast, how frugal, how quiet? Measurements against real servers, each with its bar."""
