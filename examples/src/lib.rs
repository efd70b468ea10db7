//! toolrunner-examples
