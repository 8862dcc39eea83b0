"""Reading and writing the bytes of flat files and HDF5 datasets, below the idea of a buffer."""
