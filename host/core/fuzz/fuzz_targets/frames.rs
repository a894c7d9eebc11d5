#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| haptic_core_fuzz::frames::check(input));
