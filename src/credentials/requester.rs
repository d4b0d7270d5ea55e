//! Repeats requests with transient failures until a deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    GoogleError,
    http::{HttpClient, HttpRequest, HttpResponse},
    source::random,
};

/// Sends the requests of one mint.
pub(super) struct Requester<'a> {
    client: &'a HttpClient,
    deadline: Instant,
    /// Attempts for each request.
    attempts: u32,
}

/// Pause before the second attempt; doubled for each further attempt.
const MIN_RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Maximum pause before an attempt, unless the server asks for a longer pause.
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(2);

impl<'a> Requester<'a> {
    /// Repeats requests until `deadline`.
    pub(super) const fn new(client: &'a HttpClient, deadline: Instant) -> Self {
        Self { client, deadline, attempts: u32::MAX }
    }

    /// Limits each request to `attempts`.
    pub(super) const fn with_attempts(&self, attempts: u32) -> Self {
        Self { client: self.client, deadline: self.deadline, attempts }
    }

    /// The time until the deadline.
    pub(super) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Sends `request` to `server` (its name in messages) and reads the response; each attempt may take `limit`.
    ///
    /// Cancel safe: the connection is closed.
    ///
    /// # Errors
    /// The last attempt's error: permanent, or transient until the deadline. A retry time beyond the deadline ends the
    /// attempts.
    pub(super) async fn send<T>(
        &self,
        server: &str,
        request: &HttpRequest,
        limit: Duration,
        read: impl Fn(&HttpResponse) -> Result<T, GoogleError>,
    ) -> Result<T, GoogleError> {
        let mut pause = MIN_RETRY_PAUSE;
        let mut attempt = 1;
        loop {
            let result = match self.client.send(request, limit.min(self.remaining())).await {
                Ok(response) => read(&response),
                Err(source) => Err(GoogleError::Unreachable { server: server.to_owned(), source }),
            };
            let error = match result {
                Err(error) if error.is_transient() && attempt < self.attempts => error,
                result => return result,
            };
            let jittered = pause.mul_f64(0.5 + 0.5 * random());
            let wait = error.retry_after().map_or(jittered, |wanted| wanted.max(jittered));
            if Instant::now() + wait >= self.deadline {
                return Err(error);
            }
            sleep(wait).await;
            pause = (pause * 2).min(MAX_RETRY_PAUSE);
            attempt += 1;
        }
    }
}
