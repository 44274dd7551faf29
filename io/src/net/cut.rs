//! Where hyper spawns what a connection needs.
//!
//! Law: nothing of a connection outlives its cut. Left to itself, hyper's task of a connection
//! waits for every stream, and for a peer that may never take what is still to be written.

use hyper::rt::Executor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Runs tasks until `stop`, and counts them in `tasks`.
#[derive(Clone)]
pub(super) struct Cut {
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl<F> Executor<F> for Cut
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(task).await;
        });
    }
}
