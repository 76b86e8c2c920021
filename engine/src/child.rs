//! Other programs, run beside us to be measured: pinned, with a priority, and gone when we are.
//!
//! A child leads a process group of its own, so that its end takes along whatever it started. When the thread that
//! started it ends, for whatever reason, the kernel sends it SIGTERM.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus},
};

/// How a process gets its time slices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// What the parent has.
    #[default]
    Normal,
    /// nice -20 (setpriority(2)); needs CAP_SYS_NICE.
    Nice,
    /// SCHED_RR (sched(7)): before every ordinary process of the machine; needs CAP_SYS_NICE or RLIMIT_RTPRIO.
    RealTime,
}

/// Where and how a child runs.
#[derive(Clone, Debug)]
pub struct Place {
    /// The cores it may use.
    pub cores: Vec<u16>,
    pub priority: Priority,
}

/// Of SCHED_RR there are 1 to 99; the kernel's own threads that matter to sockets are above it.
const REAL_TIME: i32 = 21;
const NICE: i32 = -20;

/// A process group that is killed when this is dropped.
#[derive(Debug)]
pub struct Group {
    leader: Child,
}

impl Group {
    /// Start `command` in `place`.
    ///
    /// # Errors
    /// Those of starting a program, and EPERM where the priority is refused.
    pub fn start(command: &mut Command, place: &Place) -> io::Result<Self> {
        let cores = core_set(&place.cores)?;
        let priority = place.priority;
        let parent = std::process::id();
        let prepare = move || {
            set_cores(&cores)?;
            set_priority(priority, 0)?;
            end_with_parent(parent)
        };
        command.process_group(0);
        // SAFETY: `prepare` runs between fork and exec; it makes system calls only, and neither allocates nor locks.
        unsafe { command.pre_exec(prepare) };
        Ok(Self { leader: command.spawn()? })
    }

    /// The leader, for its pipes and its status.
    pub fn leader(&mut self) -> &mut Child {
        &mut self.leader
    }

    pub fn id(&self) -> u32 {
        self.leader.id()
    }

    /// Kill all of the group, and wait for the leader.
    ///
    /// # Errors
    /// Those of waiting.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        let group = -self.leader.id().cast_signed();
        // SAFETY: the call takes no memory from us. The number is our child's until it has been waited for, below.
        unsafe { libc::kill(group, libc::SIGKILL) };
        self.leader.wait()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // After its leader has been waited for the number may be another's: then there is nothing to kill by it.
        if let Ok(None) = self.leader.try_wait() {
            let _ = self.kill();
        }
    }
}

/// Let the calling thread, and the threads that it starts from now on, run before children of this priority, so that it
/// can look after them. Children started by it get what their [`Place`] says.
///
/// # Errors
/// EPERM, as a rule; then a child may not have it either.
pub fn run_before(priority: Priority) -> io::Result<()> {
    set_priority(priority, 1)
}

fn core_set(cores: &[u16]) -> io::Result<libc::cpu_set_t> {
    // SAFETY: a set of bits, of which none is set, is a valid one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for core in cores.iter().copied().map(usize::from) {
        if core >= libc::CPU_SETSIZE as usize {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("there is no core {core}")));
        }
        // SAFETY: the bit is within the set, as just checked.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    Ok(set)
}

fn set_cores(cores: &libc::cpu_set_t) -> io::Result<()> {
    // SAFETY: the kernel reads the set, whose size it is told.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), cores) })
}

fn set_priority(priority: Priority, above: i32) -> io::Result<()> {
    match priority {
        Priority::Normal => Ok(()),
        // SAFETY: the call takes no memory from us.
        Priority::Nice => check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) }),
        Priority::RealTime => {
            let parameter = libc::sched_param { sched_priority: REAL_TIME + above };
            // SAFETY: the kernel reads the struct that it is given.
            check(unsafe { libc::sched_setscheduler(0, libc::SCHED_RR, &raw const parameter) })
        }
    }
}

fn end_with_parent(parent: u32) -> io::Result<()> {
    // SAFETY: the call takes no memory from us.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) })?;
    // SAFETY: the call takes no memory from us, and cannot fail.
    let now = unsafe { libc::getppid() };
    // It may have ended before the signal was asked for.
    if now.cast_unsigned() == parent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cores;
    use std::{fs, io::Read, path::Path, process::Stdio};

    fn shell(script: &str) -> (Group, String) {
        let place = Place { cores: vec![cores::available()[0]], priority: Priority::Normal };
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut group = Group::start(&mut command, &place).expect("a shell");
        let mut line = String::new();
        let mut out = group.leader().stdout.take().expect("a pipe");
        let mut byte = [0];
        while out.read(&mut byte).is_ok_and(|n| n == 1) && byte[0] != b'\n' {
            line.push(byte[0].into());
        }
        (group, line)
    }

    #[test]
    fn a_child_runs_on_its_core() {
        let (_group, line) = shell("grep Cpus_allowed_list /proc/self/status");
        assert_eq!(line.split_whitespace().last(), Some(cores::available()[0].to_string().as_str()));
    }

    #[test]
    fn the_end_of_a_group_takes_its_children_along() {
        let (mut group, line) = shell("sleep 1000 & echo $!; wait");
        let child = format!("/proc/{}/stat", line.trim());
        assert!(Path::new(&child).exists());
        group.kill().expect("killed");
        // Nobody waits for an orphan here but init, which may take its time: dead is enough.
        let alive = || fs::read_to_string(&child).is_ok_and(|stat| !stat.contains(") Z "));
        while alive() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_core_that_no_machine_has_is_an_error() {
        let place = Place { cores: vec![u16::MAX], priority: Priority::Normal };
        let error = Group::start(&mut Command::new("true"), &place).expect_err("no such core");
        assert!(error.to_string().contains("65535"), "{error}");
    }

    #[test]
    fn a_program_that_is_missing_is_an_error() {
        let place = Place { cores: cores::available(), priority: Priority::Normal };
        let error = Group::start(&mut Command::new("/nonexistent/program"), &place).expect_err("no such program");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
