"""The native library of the CPU backend: C++ sources, and the library that the build puts here."""
