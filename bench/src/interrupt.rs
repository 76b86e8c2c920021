//! Ctrl-C: the run under way ends early and is reported.

use crate::failure::Failure;
use balance_engine::os::Interrupts;
use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
};

type Call = Box<dyn Fn() + Send>;

/// Whether a command was interrupted, and who is to be told of it.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    interrupted: bool,
    /// Of the run under way.
    call: Option<Call>,
}

impl Interrupt {
    /// From here on Ctrl-C is ours, once. To be called before other threads are started.
    ///
    /// # Errors
    /// What the system refused.
    pub(crate) fn watch() -> Result<Self, Failure> {
        let cannot = |error| Failure::runtime(format!("cannot wait for Ctrl-C: {error}"));
        let (this, signals) = (Self::default(), Interrupts::hold().map_err(cannot)?);
        let told = this.clone();
        let watching = thread::Builder::new().name("interrupt".into()).spawn(move || {
            if signals.wait().is_ok() {
                told.strike();
            }
        });
        watching.map_err(cannot)?;
        Ok(this)
    }

    pub(crate) fn strike(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.interrupted = true;
        if let Some(call) = &state.call {
            call();
        }
    }

    /// Whom to call for the run that begins; at once, if it has been interrupted before.
    pub(crate) fn call(&self, call: impl Fn() + Send + 'static) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.interrupted {
            call();
        }
        state.call = Some(Box::new(call));
    }

    pub(crate) fn has_struck(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).interrupted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn whoever_runs_is_told_and_so_is_who_begins_later() {
        let interrupt = Interrupt::default();
        let (tell, told) = mpsc::channel();
        let of = |number: u32| {
            let tell = tell.clone();
            move || tell.send(number).expect("we listen")
        };
        interrupt.call(of(1));
        interrupt.call(of(2));
        assert!(!interrupt.has_struck());
        interrupt.strike();
        interrupt.call(of(3));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [2, 3]);
        assert!(interrupt.has_struck());
    }
}
