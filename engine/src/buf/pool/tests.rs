use super::*;
use crate::rng::Rng;

const IDLE: Duration = Duration::from_secs(10);

fn pool_of(bytes_max: u64) -> (BufferPool, Arc<Budget>) {
    let budget = Budget::new(bytes_max);
    (BufferPool::new(Sizes::default(), Arc::clone(&budget)), budget)
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::START + Duration::from_secs(seconds)
}

#[test]
fn a_buffer_is_small_and_so_is_an_optional_one() {
    assert_eq!(size_of::<Option<Buffer>>(), 24);
}

#[test]
fn every_class_has_its_size_and_is_page_aligned_and_zero() {
    let (pool, _) = pool_of(64 << 20);
    for (class, size) in Class::ALL.into_iter().zip([4 << 10, 32 << 10, 64 << 10, 1 << 20]) {
        let buffers: Vec<Buffer> = (0..9).map(|_| pool.take(class).unwrap()).collect();
        for buffer in &buffers {
            assert_eq!((buffer.len(), buffer.class()), (size, class));
            assert_eq!(buffer.as_ptr() as usize % PAGE, 0);
            assert!(buffer.iter().all(|byte| *byte == 0));
        }
    }
    assert_eq!(pool.leaked(), 0);
}

#[test]
fn the_optimal_class_is_the_smallest_that_fits() {
    let (pool, _) = pool_of(0);
    assert_eq!(pool.optimal(0), Some(Class::Small));
    assert_eq!(pool.optimal(4096), Some(Class::Small));
    assert_eq!(pool.optimal(4097), Some(Class::Medium));
    assert_eq!(pool.optimal(1 << 20), Some(Class::Huge));
    assert_eq!(pool.optimal((1 << 20) + 1), None);
}

#[test]
fn odd_sizes_are_rounded_up_to_pages() {
    let budget = Budget::new(1 << 30);
    let pool = BufferPool::new(Sizes { small: 1, medium: 5000, large: 5000, huge: 9000 }, budget);
    assert_eq!(Class::ALL.map(|class| pool.size(class)), [4096, 8192, 8192, 12288]);
    let buffers: Vec<Buffer> = (0..50).map(|_| pool.take(Class::Huge).unwrap()).collect();
    assert_eq!(buffers.len(), 50);
}

#[test]
fn the_cap_is_kept_and_counted() {
    let (pool, budget) = pool_of(CHUNK_BYTES as u64);
    let small: Vec<Buffer> = (0..64).map(|_| pool.take(Class::Small).unwrap()).collect();
    assert!(pool.take(Class::Small).is_none());
    assert!(pool.take(Class::Medium).is_none());
    assert_eq!(pool.stats().classes[0].refused_total, 1);
    assert_eq!((budget.leased(), pool.stats().leased_bytes), (CHUNK_BYTES as u64, CHUNK_BYTES as u64));
    drop(small);
    assert!(pool.take(Class::Small).is_some());
}

/// What a burst has left free is not yet given back, and serves again: others need not do with less for it.
#[test]
fn free_memory_of_a_pool_is_not_scarce() {
    let (pool, budget) = pool_of(4 << 20);
    let mut buffers: Vec<Buffer> = (0..33).map(|_| pool.take(Class::Medium).unwrap()).collect();
    assert!(pool.is_scarce(), "more than a quarter is handed out");
    buffers.pop();
    assert!(!pool.is_scarce());
    assert!(budget.leased() > budget.bytes_max() / 4, "its chunks are still there");
    let other = BufferPool::new(Sizes::default(), budget);
    assert!(other.is_scarce(), "of other pools only they know what is free");
}

#[test]
fn idle_chunks_are_given_back_and_only_those() {
    let (pool, budget) = pool_of(64 << 20);
    let mut buffers: Vec<Buffer> = (0..200).map(|_| pool.take(Class::Small).unwrap()).collect();
    assert_eq!(pool.stats().classes[0].capacity, 256);
    buffers.truncate(1);
    pool.shrink(at(1), IDLE);
    assert_eq!(pool.stats().classes[0].capacity, 256, "not idle for long enough");
    // Taken and returned in between: but the lowest chunk serves, the idle ones stay idle.
    drop(pool.take(Class::Small));
    pool.shrink(at(11), IDLE);
    assert_eq!(pool.stats().classes[0].capacity, 64);
    assert_eq!(budget.leased(), CHUNK_BYTES as u64);
    buffers.clear();
    pool.shrink(at(12), IDLE);
    drop(pool.take(Class::Small));
    pool.shrink(at(22), IDLE);
    assert_eq!(budget.leased(), CHUNK_BYTES as u64, "use in between starts the time again");
    pool.shrink(at(32), IDLE);
    assert_eq!(budget.leased(), 0);
    assert!(pool.take(Class::Small).unwrap().iter().all(|byte| *byte == 0), "fresh memory is zero again");
}

#[test]
fn the_pool_outlives_its_handles_as_long_as_a_buffer_is_out() {
    let (pool, budget) = pool_of(64 << 20);
    let mut buffer = pool.take(Class::Medium).unwrap();
    drop(pool);
    buffer.fill(7);
    assert_eq!(budget.leased(), CHUNK_BYTES as u64);
    assert_eq!((buffer.capacity(), buffer.class()), (32 << 10, Class::Medium));
    assert!(buffer.iter().all(|byte| *byte == 7));
    drop(buffer);
    assert_eq!(budget.leased(), 0, "the last buffer took the pool with it");
}

#[test]
fn a_buffer_counts_as_leaked_until_it_is_back() {
    let (pool, _) = pool_of(64 << 20);
    let (other, _) = pool_of(64 << 20);
    let buffer = pool.take(Class::Small).unwrap();
    assert_eq!(pool.leaked(), 1);
    assert!(pool.owns(&buffer) && !other.owns(&buffer));
    drop(buffer);
    assert_eq!(pool.leaked(), 0);
}

#[test]
fn released_pages_come_back_as_zeros() {
    let (pool, _) = pool_of(64 << 20);
    let mut buffer = pool.take(Class::Small).unwrap();
    buffer.fill(7);
    buffer.release_pages();
    assert!(buffer.iter().all(|byte| *byte == 0));
}

#[cfg(debug_assertions)]
#[test]
#[should_panic(expected = "came back twice")]
fn a_double_return_is_caught() {
    let (pool, _) = pool_of(64 << 20);
    let buffer = pool.take(Class::Small).unwrap();
    let (id, ptr) = (buffer.id, buffer.ptr);
    drop(buffer);
    pool.0.give_back(id, ptr);
}

#[cfg(debug_assertions)]
#[test]
#[should_panic(expected = "not its own")]
fn a_return_to_a_foreign_pool_is_caught() {
    let (pool, _) = pool_of(64 << 20);
    let (other, _) = pool_of(64 << 20);
    let _same_id = other.take(Class::Small);
    let buffer = pool.take(Class::Small).unwrap();
    other.0.give_back(buffer.id, buffer.ptr);
}

#[cfg(debug_assertions)]
#[test]
fn a_returned_buffer_is_poisoned() {
    let (pool, _) = pool_of(64 << 20);
    pool.take(Class::Small).unwrap().fill(1);
    assert!(pool.take(Class::Small).unwrap().iter().all(|byte| *byte == POISON));
}

#[test]
fn a_region_serves_first_and_stays_while_it_exists() {
    let (pool, budget) = pool_of(64 << 20);
    let ordinary = pool.take(Class::Medium).unwrap();
    let region = pool.open_region(Class::Medium).unwrap();
    assert_eq!(region.bytes(), 2 << 20);
    assert!(pool.open_region(Class::Medium).is_none(), "there is one of a class");
    assert!(!region.holds(&ordinary));
    let mut buffers: Vec<Buffer> = (0..64).map(|_| pool.take(Class::Medium).unwrap()).collect();
    assert!(buffers.iter().all(|buffer| region.holds(buffer)));
    assert!(!region.holds(&pool.take(Class::Medium).unwrap()), "it has an end");
    buffers[0].fill(7);
    assert!(!buffers[0].release_pages());
    assert!(buffers[0].iter().all(|byte| *byte == 7), "its pages stay");
    drop(buffers.drain(1..));
    drop(ordinary);
    for second in [1, 1000] {
        pool.shrink(at(second), IDLE);
    }
    assert_eq!((budget.leased(), pool.stats().leased_bytes), (2 << 20, 2 << 20), "only the rest was idle");
    assert!(!pool.has_idle_chunks());
    drop(region);
    assert!(buffers[0].release_pages());
    buffers.clear();
    assert!(pool.has_idle_chunks());
    for second in [1001, 2000] {
        pool.shrink(at(second), IDLE);
    }
    assert_eq!(budget.leased(), 0);
}

#[test]
fn a_region_that_ends_gives_its_pages_back_and_the_next_one_takes_its_place() {
    let (pool, budget) = pool_of(64 << 20);
    let region = pool.open_region(Class::Medium).unwrap();
    let (from, leased) = (region.as_ptr(), budget.leased());
    pool.take(Class::Medium).unwrap().fill(7);
    drop(region);
    assert!(pool.take(Class::Medium).unwrap().iter().all(|byte| *byte == 0));
    let region = pool.open_region(Class::Medium).unwrap();
    assert_eq!((region.as_ptr(), budget.leased()), (from, leased));
}

#[test]
fn a_region_keeps_to_its_share_of_the_cap() {
    let (pool, _) = pool_of(8 << 20);
    assert_eq!(pool.open_region(Class::Medium).unwrap().bytes(), 512 << 10);
    let (pool, budget) = pool_of(2 << 20);
    assert!(pool.open_region(Class::Medium).is_none());
    assert_eq!(budget.leased(), 0);
    let (pool, _) = pool_of(8 << 20);
    let all: Vec<Buffer> = std::iter::from_fn(|| pool.take(Class::Medium)).collect();
    assert!(pool.open_region(Class::Medium).is_none(), "{} buffers are the cap", all.len());
}

/// Each buffer carries a mark of its own at both ends; an overlap or a double hand-out would overwrite one.
#[test]
fn buffers_never_overlap() {
    for seed in 1..10 {
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        let (pool, budget) = pool_of(8 << 20);
        let mut out: Vec<(Buffer, u64)> = Vec::new();
        for step in 0..3000_u64 {
            match rng.below(20) {
                0 => pool.shrink(at(step), Duration::from_secs(rng.below(200))),
                roll if roll < 10 && !out.is_empty() => {
                    let (buffer, mark) = out.swap_remove(rng.index(out.len()));
                    assert_eq!(buffer[..8], mark.to_le_bytes());
                    assert_eq!(buffer[buffer.len() - 8..], mark.to_le_bytes());
                }
                _ => {
                    let class = Class::ALL[rng.index(4).min(rng.index(4))];
                    let Some(mut buffer) = pool.take(class) else {
                        continue;
                    };
                    let end = buffer.len();
                    buffer[..8].copy_from_slice(&step.to_le_bytes());
                    buffer[end - 8..].copy_from_slice(&step.to_le_bytes());
                    out.push((buffer, step));
                }
            }
            assert_eq!(pool.leaked(), out.len() as u64);
            assert_eq!(pool.stats().leased_bytes, budget.leased());
        }
        out.clear();
        pool.shrink(at(9000), Duration::ZERO);
        assert_eq!(budget.leased(), 0);
    }
}
