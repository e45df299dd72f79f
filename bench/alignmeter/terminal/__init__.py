"""Every text table; the command line and the pytest plugin both print them."""
