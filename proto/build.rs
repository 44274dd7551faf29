//! Makes Rust of `tandem.proto`, without `protoc`: protox compiles it, prost writes it.

use std::env;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=tandem.proto");
    let grpc = env::var_os("CARGO_FEATURE_GRPC").is_some();
    tonic_prost_build::configure()
        .build_client(grpc)
        .build_server(grpc)
        .build_transport(false)
        .codec_path("crate::codec::WireCodec")
        .bytes(".")
        .skip_debug([".tandem.v1.Secret"])
        .compile_fds(protox::compile(["tandem.proto"], ["."])?)?;
    Ok(())
}
