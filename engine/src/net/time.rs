//! Timers as tasks see them.

use crate::{clock::Timestamp, core::Handle, timer::TimerKey};
use std::task::{Context, Poll};

/// One deadline that wakes a task. Dropping it disarms it.
pub struct Timer {
    handle: Handle,
    armed: Option<(TimerKey, Timestamp)>,
}

impl Timer {
    pub fn new(handle: &Handle) -> Self {
        Self { handle: handle.clone(), armed: None }
    }

    /// Ready once `at` has come. Arms the wheel for it; another `at` than last time moves the timer.
    pub fn poll_at(&mut self, at: Timestamp, context: &Context<'_>) -> Poll<()> {
        if self.handle.now() >= at {
            self.disarm();
            return Poll::Ready(());
        }
        if self.armed.is_none_or(|(_, armed)| armed != at) {
            self.disarm();
            self.armed = Some((self.handle.set_timer(at, context.waker().clone()), at));
        }
        Poll::Pending
    }

    /// As [`Timer::poll_at`], but leaves a timer that fires earlier where it is: for deadlines that move with every
    /// byte, so that progress costs nothing. The task is woken at the old moment and asks again.
    pub fn poll_lazily_at(&mut self, at: Timestamp, context: &Context<'_>) -> Poll<()> {
        let now = self.handle.now();
        match self.armed {
            Some((_, armed)) if now < armed && armed <= at => Poll::Pending,
            _ => self.poll_at(at, context),
        }
    }

    /// Ready once the moment has come for which it was armed last, and at `latest`; at once when it is not armed.
    pub fn poll_armed(&mut self, latest: Timestamp, context: &Context<'_>) -> Poll<()> {
        match self.armed {
            Some((_, at)) => self.poll_at(at.min(latest), context),
            None => Poll::Ready(()),
        }
    }

    pub fn disarm(&mut self) {
        if let Some((key, _)) = self.armed.take() {
            self.handle.cancel_timer(key);
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.disarm();
    }
}

/// Sleep until `at`.
pub async fn sleep_until(handle: &Handle, at: Timestamp) {
    let mut timer = Timer::new(handle);
    std::future::poll_fn(|context| timer.poll_at(at, context)).await;
}
