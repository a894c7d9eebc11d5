//! An allocator that counts bytes while it is told to: counting would slow down those
//! most that allocate most.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

pub(crate) struct Counting;

static ENABLED: AtomicBool = AtomicBool::new(false);
static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grown(bytes: usize) {
    if ENABLED.load(Relaxed) {
        let held = HELD.fetch_add(bytes, Relaxed).wrapping_add(bytes);
        // What was allocated uncounted and is freed takes it below zero.
        if isize::try_from(held).is_ok() {
            PEAK.fetch_max(held, Relaxed);
        }
    }
}

fn shrunk(bytes: usize) {
    if ENABLED.load(Relaxed) {
        HELD.fetch_sub(bytes, Relaxed);
    }
}

#[allow(
    unsafe_code,
    reason = "the trait is unsafe; every call goes to the system's allocator"
)]
// SAFETY: each method passes its arguments on unchanged and returns what it gets.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller upholds what `alloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        shrunk(layout.size());
        // SAFETY: the caller upholds what `dealloc` asks for.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grown(size);
        shrunk(layout.size());
        // SAFETY: the caller upholds what `realloc` asks for.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What a piece of work did to memory, in bytes that were asked for.
pub(crate) struct Held<T> {
    /// What it made.
    pub(crate) made: T,
    /// How much more is held after it.
    pub(crate) bytes: usize,
    /// How much more was held at the most.
    pub(crate) peak: usize,
}

/// Counts what `work` allocates and frees. It must not free what was there before.
pub(crate) fn count<T>(work: impl FnOnce() -> T) -> Held<T> {
    HELD.store(0, Relaxed);
    PEAK.store(0, Relaxed);
    ENABLED.store(true, Relaxed);
    let made = work();
    ENABLED.store(false, Relaxed);
    let held = HELD.load(Relaxed).cast_signed();
    Held {
        made,
        bytes: usize::try_from(held).unwrap_or(0),
        peak: PEAK.load(Relaxed),
    }
}
