#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = pega_core::sidecar::fuzz::requests(bytes);
});
