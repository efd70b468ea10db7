//! toolrunner-std
