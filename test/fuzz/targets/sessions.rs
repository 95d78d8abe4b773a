#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| swob_gateway_fuzz::sessions::holds(data));
