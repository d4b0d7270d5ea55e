//! A future with a name; panics are caught and logged.
//!
//! Adds a `&'static str` to the future: an `async` block would hold the future twice.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

pin_project_lite::pin_project! {
    pub(super) struct Named<F> {
        name: &'static str,
        #[pin]
        future: F,
    }
}

impl<F> Named<F> {
    pub(super) fn new(name: &'static str, future: F) -> Self {
        Self { name, future }
    }
}

impl<F: Future<Output = ()>> Future for Named<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let future = this.future;
        // Unwind safety: a panicked future is never polled again; the drop is the same as tokio's.
        catch_unwind(AssertUnwindSafe(|| future.poll(context))).unwrap_or_else(|payload| {
            tracing::error!(
                task = this.name,
                panic = panic_message(&*payload),
                "a task panicked and was ended"
            );
            Poll::Ready(())
        })
    }
}

/// Message of a panic.
fn panic_message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}
