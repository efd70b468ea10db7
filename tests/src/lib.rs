//! toolrunner-tests
