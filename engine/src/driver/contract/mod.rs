//! The contract of [`crate::driver`] as tests, the same for every driver.
//!
//! A driver joins with one line, `contract_tests!(its_setup)`. The [`Rig`](rig::Rig) under every test holds
//! the driver to the rules that are always in force: one last completion an operation, none after it, an exact count of
//! what is in flight, every buffer back. The tests add the promises about connections.
//!
//! Nothing here knows how completions are timed: a test says what must come, never when.

mod batches;
mod chaos;
mod flow;
mod promises;
mod rig;
mod tcp;

pub(crate) use batches::batches_arrive_in_order_and_come_back;
pub(crate) use chaos::nothing_breaks_the_rules;
pub(crate) use promises::{
    a_blocked_send_can_be_cancelled, a_connect_can_be_cancelled, a_send_waits_for_a_peer_that_has_closed_its_half,
    accepts_wait_side_by_side, an_accept_can_be_cancelled, cancelling_what_is_over_does_nothing,
    many_connections_at_once, operations_on_unix_sockets, running_out_of_buffers_is_survived,
    the_wake_descriptor_is_reported_every_time, time_passes_in_turns, what_is_not_acknowledged_is_told,
};
pub(crate) use rig::Setup;
pub(crate) use tcp::{
    a_cancelled_receive_loses_nothing, a_reset_is_passed_on, a_stream_of_many_bytes_keeps_every_one,
    accept_and_connect, closing_with_unread_data_resets, connecting_to_nobody_is_refused, half_close_in_either_order,
    messages_come_back,
};

/// Makes a test of every promise for one driver.
macro_rules! contract_tests {
    ($setup:expr) => {
        contract_tests!($setup, without_unix_sockets);
        #[test]
        fn operations_on_unix_sockets() {
            crate::driver::contract::operations_on_unix_sockets(&$setup);
        }
    };
    ($setup:expr, without_unix_sockets) => {
        contract_tests!(@each $setup,
            accept_and_connect messages_come_back a_stream_of_many_bytes_keeps_every_one half_close_in_either_order
            a_reset_is_passed_on closing_with_unread_data_resets a_cancelled_receive_loses_nothing
            connecting_to_nobody_is_refused accepts_wait_side_by_side an_accept_can_be_cancelled
            a_connect_can_be_cancelled a_blocked_send_can_be_cancelled
            a_send_waits_for_a_peer_that_has_closed_its_half cancelling_what_is_over_does_nothing
            many_connections_at_once the_wake_descriptor_is_reported_every_time running_out_of_buffers_is_survived
            time_passes_in_turns what_is_not_acknowledged_is_told batches_arrive_in_order_and_come_back
            nothing_breaks_the_rules);
    };
    (@each $setup:expr, $($promise:ident)*) => {
        $(
            #[test]
            fn $promise() {
                crate::driver::contract::$promise(&$setup);
            }
        )*
    };
}
pub(crate) use contract_tests;
