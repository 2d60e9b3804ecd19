#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gemhook::fuzzing::answers::operation(data));
