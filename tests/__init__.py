"""The tests: a package, so that they share their fakes and golden files."""
