//! toolrunner-embassy
