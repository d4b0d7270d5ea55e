//! Serves the admin API on a socket of its own.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{Router, extract::State, routing::get};

use super::{AdminSettings, Control};
use crate::{
    files::Files,
    frontend::{ListenerContext, World},
    live::Live,
    tasks::Tasks,
    telemetry::Metrics,
};

/// What the admin API shows and does.
#[derive(Clone)]
pub struct Api {
    /// What sessions know too.
    pub world: Arc<World>,
    /// The listeners as they are configured now.
    pub listeners: Live<Vec<Live<ListenerContext>>>,
    /// Reload and stop.
    pub control: Control,
    /// The numbers.
    pub metrics: Metrics,
}

/// The admin API at work.
pub struct Server {
    draining: Arc<AtomicBool>,
}

/// Why the admin API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Its address.
    #[error("listening on {0}")]
    Bind(std::net::SocketAddr, #[source] io::Error),
}

impl Server {
    /// Binds and serves, as tasks of `tasks`.
    ///
    /// # Errors
    /// [`AdminError`]
    pub fn start(
        settings: &AdminSettings,
        api: Api,
        _files: &Files,
        tasks: &Tasks,
    ) -> Result<Self, AdminError> {
        let bound = |error| AdminError::Bind(settings.bind, error);
        let socket = std::net::TcpListener::bind(settings.bind).map_err(bound)?;
        socket.set_nonblocking(true).map_err(bound)?;
        let socket = tokio::net::TcpListener::from_std(socket).map_err(bound)?;
        let router = Router::new()
            .route("/livez", get(async || "ok"))
            .route("/metrics", get(async |State(api): State<Api>| api.metrics.render()))
            .with_state(api);
        tasks.spawn("admin", async move {
            axum::serve(socket, router).await.ok();
        });
        Ok(Self { draining: Arc::default() })
    }

    /// From now on the program is not ready.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}
