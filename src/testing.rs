//! Exports for the tests, examples and benchmarks of this repository, without any stability.
//!
//! The modules of the crate are private, so the compiler reports items that neither the program nor this list uses.

pub mod admin {
    pub use crate::admin::description;
}

pub mod audit {
    pub use crate::audit::SCHEMA;
}

pub mod backend {
    pub use crate::backend::{
        Backend, ConnectError, ConnectFailure, ConnectRequest, EndpointHandle, EndpointSettings, ProbeLogin,
    };
}

pub mod blame {
    pub use crate::blame::{Blame, Chain};
}

pub mod config {
    pub use crate::config::{Config, ConfigSource, KEYS, variables};
}

pub mod credentials {
    pub use crate::credentials::{
        Login, PasswordLogin, Secret, TokenCommand, TokenLoginSettings, TokenOrigin, TokenUsers,
    };
}

pub mod handshake {
    pub use crate::handshake::{Credential, LoginError, Method, ServerLogin};
}

pub mod live {
    pub use crate::live::Live;
}

pub mod names {
    pub use crate::names::{ClusterName, DatabaseName, EndpointName, UserName};
}

pub mod probe {
    pub use crate::probe::{Evidence, Probe, ProbeSettings};
}

#[cfg(feature = "demo")]
pub mod sandbox {
    pub use crate::sandbox::{
        ALICE, ALICE_AT_LISTENERS, APP, APP_MD5, AddressBlock, Certificate, DATABASE, FakeGoogle,
        GoogleFault, Middleman, NativeUser, Node, Passage, REPLICATOR, SERVICE_ACCOUNT, SUPERUSER, Sandbox,
        SandboxCluster, SandboxEndpoint, SandboxOptions, ServerTls, Single, Stop, TokenCheck, Tokens,
    };
}

pub mod scram {
    pub use crate::scram::{DEFAULT_ITERATIONS, NONCE_BYTES, Verifier};
}

pub mod sql {
    pub use crate::sql::{Classification, Classifier, ClassifierOptions, LexicalSettings, SchemaInfo};
}

pub mod tasks {
    pub use crate::tasks::Tasks;
}

pub mod telemetry {
    pub use crate::telemetry::{Metrics, catalog};
}

pub mod tls {
    pub use crate::tls::{EndpointTls, Negotiation, TlsError, TlsMode};
}

pub mod topology {
    pub use crate::topology::{
        Address, DeclaredRole, Endpoint, EndpointStatus, Health, NodeFreshness, NodeId, ObservedRole,
        ReplayReport, ReplayState, TopologySnapshot, parse_lsn,
    };
}

pub mod wire {
    pub use crate::wire::{
        BackendKey, Deframer, Frame, FrameError, FramePiece, ProtocolVersion, Speaker, StartupMessage,
        authentication, backend, tag, write_frame, write_packet,
    };
}
