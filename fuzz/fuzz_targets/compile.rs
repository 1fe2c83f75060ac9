//! Any model that can be read compiles to a graph that can be written, or to an error, with every method: three of them an
//! input, which its bytes choose, so that ten minutes try thousands of inputs and not dozens.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pellucid_compile::methods::{ALL, Form, Settings};
use pellucid_compile::{Options, Request, artefact, coverage, passes, program};
use pellucid_graph::onnx::{EncodeError, EncodeOptions, Limits, decode, encode};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { memory_bytes: 1 << 26, nodes: 300, ..Limits::default() };
    let Ok(graph) = decode(Bytes::copy_from_slice(bytes), &limits) else {
        return;
    };
    let Ok(graph) = passes::fold(&graph, 1024).and_then(|graph| passes::raise(&graph)) else {
        return;
    };
    let sum = bytes.iter().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    for definition in (0..3).map(|next| ALL[sum.wrapping_add(next * ALL.len() / 3) % ALL.len()]) {
        let Form::Compiled(build) = definition.form else { continue };
        let quadrature = definition.name == "integrated-gradients";
        let given =
            if quadrature { vec![("quadrature".to_owned(), "trapezoid".to_owned())] } else { Vec::new() };
        let settings = Settings::new(definition, &given).expect("these settings exist");
        let method = build(&settings).expect("these settings have a meaning");
        let _ = coverage(&graph, &method, &Request::default());
        if let Err(error) = program(&graph, &method, &Request::default()) {
            assert!(error.is_user_error(), "{}: {error}", definition.name);
        }
        match artefact(&graph, &method, &Options::default()) {
            Ok(made) => {
                let lowered = passes::lower(&made.graph).expect("what was compiled can be lowered");
                match encode(&lowered, &EncodeOptions::default()) {
                    Ok(_) | Err(EncodeError::Unknown(_) | EncodeError::Unnamed) => {}
                    Err(error) => panic!("{}: what was compiled cannot be written: {error}", definition.name),
                }
            }
            Err(error) => assert!(error.is_user_error(), "{}: {error}", definition.name),
        }
    }
});
