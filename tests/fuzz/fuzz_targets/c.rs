#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| toolrunner_fuzz::targets::c::run(data));
