//! Blocks on their way between the arena and the memory of a client.

use super::cache::RemoteCache;
use super::lease::RemoteLease;
use crate::cache::{Span, Target, total_bytes};
use crate::error::{Error, Result};
use crate::sidecar::cache_request::{CacheRequest, PackedHashes};
use crate::sidecar::codec::broken;
use crate::sidecar::reply::{Numbered, Room};
use crate::sidecar::request::{Request, Written};

/// The most blocks in one round.
const ROUND_BLOCKS: usize = 4096;

/// A load under way: the sidecar keeps its blocks until this is dropped.
pub(super) struct Load {
    cache: RemoteCache,
    number: u64,
}

impl Load {
    /// Has the sidecar keep the blocks of a lease.
    pub(super) fn begin(cache: &RemoteCache, lease: &RemoteLease, targets: usize) -> Result<Self> {
        if targets != lease.present().len() {
            return Err(Error::invalid(
                "a lease is loaded into as many targets as it has hashes; leave some out with None",
            )
            .with("targets", targets)
            .with("hashes", lease.present().len()));
        }
        let number = cache.ask(CacheRequest::BeginLoad { token: lease.token().to_le_bytes() })?;
        Ok(Self { cache: cache.clone(), number })
    }

    /// Copies the blocks; gives the positions that failed.
    ///
    /// # Safety
    /// The targets are valid for writes, none overlaps another, and nothing else uses them meanwhile.
    pub(super) unsafe fn run(&self, targets: &[Target]) -> Result<Vec<usize>> {
        let wanted: Vec<(usize, &[Span])> =
            targets.iter().enumerate().filter_map(|(i, target)| Some((i, target.as_deref()?))).collect();
        let mut failed = Vec::new();
        let mut rest = wanted.as_slice();
        while !rest.is_empty() {
            let (round, later) = rest.split_at(self.round_length(rest));
            // SAFETY: the caller's promise.
            unsafe { self.run_round(round, &mut failed)? };
            rest = later;
        }
        Ok(failed)
    }

    fn round_length(&self, targets: &[(usize, &[Span])]) -> usize {
        round_length(self.cache.client().round_bytes(), targets.iter().map(|(_, spans)| total_bytes(spans)))
    }

    unsafe fn run_round(&self, round: &[(usize, &[Span])], failed: &mut Vec<usize>) -> Result<()> {
        let positions = round.iter().map(|(position, _)| u32::try_from(*position).unwrap_or(u32::MAX)).collect();
        let places: Vec<Option<Numbered>> = self.cache.ask(CacheRequest::Load { load: self.number, positions })?;
        let held = Held { cache: &self.cache, numbers: places.iter().flatten().map(|held| held.number).collect() };
        if places.len() != round.len() {
            return Err(broken("the sidecar held other blocks than were asked for"));
        }
        let mut wrong = Vec::new();
        for ((position, spans), place) in round.iter().zip(&places) {
            let is_whole = match place {
                Some(held) if held.place.size_bytes == total_bytes(spans) as u64 => {
                    // SAFETY: the caller's promise; the sizes agree.
                    let is_whole = unsafe { self.cache.client().window().scatter_out(held.place, spans)? };
                    wrong.extend((!is_whole).then_some(held.number));
                    is_whole
                }
                Some(_) | None => false,
            };
            if !is_whole {
                failed.push(*position);
            }
        }
        held.distrust(wrong)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.cache.client().let_go(&[self.number]);
    }
}

/// Blocks held for one round.
struct Held<'a> {
    cache: &'a RemoteCache,
    numbers: Vec<u64>,
}

impl Held<'_> {
    /// Tells the sidecar which blocks failed their checksum.
    fn distrust(&self, pins: Vec<u64>) -> Result<()> {
        if pins.is_empty() {
            return Ok(());
        }
        self.cache.client().with(|lane| {
            lane.tell(&Request::Distrust { pins })?;
            lane.flush()
        })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.cache.client().let_go(&self.numbers);
    }
}

/// How many of the blocks of these sizes make one round; at least one.
fn round_length(round_bytes: usize, sizes_bytes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let fitting = sizes_bytes.take(ROUND_BLOCKS).take_while(|size_bytes| {
        bytes += size_bytes;
        bytes <= round_bytes
    });
    fitting.count().max(1)
}

/// Stores the blocks that are not there; gives the positions for which there was no room.
///
/// # Safety
/// The sources are valid for reads.
pub(super) unsafe fn store(cache: &RemoteCache, hashes: PackedHashes<'_>, sources: &[Vec<Span>]) -> Result<Vec<usize>> {
    let hash_bytes = hashes.hash_bytes;
    if sources.len() != hashes.packed.len() / hash_bytes {
        return Err(Error::invalid("there are not as many blocks as hashes")
            .with("blocks", sources.len())
            .with("hashes", hashes.packed.len() / hash_bytes));
    }
    let Some(first) = sources.first() else { return Ok(Vec::new()) };
    let block_bytes = total_bytes(first);
    if let Some(odd) = sources.iter().map(|spans| total_bytes(spans)).find(|size| *size != block_bytes) {
        return Err(Error::invalid("a block has another size than the blocks of its namespace")
            .with("block_bytes", block_bytes)
            .with("given_bytes", odd));
    }
    let round = round_length(cache.client().round_bytes(), sources.iter().map(|spans| total_bytes(spans)));
    let mut refused = Vec::new();
    for (i, (packed, sources)) in hashes.packed.chunks(round * hash_bytes).zip(sources.chunks(round)).enumerate() {
        // SAFETY: the caller's promise.
        let round_refused = unsafe { store_round(cache, PackedHashes { hash_bytes, packed }, block_bytes, sources)? };
        refused.extend(round_refused.into_iter().map(|position| position + i * round));
    }
    // From the end of the chain to its start, so that the start goes last.
    for packed in hashes.packed.chunks(round * hash_bytes).rev() {
        let () = cache.ask(CacheRequest::Touch { hashes: PackedHashes { hash_bytes, packed } })?;
    }
    Ok(refused)
}

/// Stores blocks on one lane, since what is reserved belongs to the lane that reserved it.
unsafe fn store_round(
    cache: &RemoteCache,
    hashes: PackedHashes<'_>,
    block_bytes: usize,
    sources: &[Vec<Span>],
) -> Result<Vec<usize>> {
    let window = cache.client().window();
    let namespace = cache.namespace();
    cache.client().with(|lane| {
        let ask = CacheRequest::Reserve { hashes, block_bytes: block_bytes as u64 };
        let rooms: Vec<Room> = lane.ask(&Request::Cache { namespace, ask })?;
        if rooms.len() != sources.len() {
            return Err(broken("the sidecar reserved room for other blocks than were asked for"));
        }
        let (mut refused, mut positions, mut written, mut packed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (position, room) in rooms.iter().enumerate() {
            match room {
                Room::Present => {}
                Room::Refused => refused.push(position),
                Room::Reserved(space) => {
                    // SAFETY: the sources are valid for reads, as the caller promises.
                    let checksum = unsafe { window.gather_in(space.place, &sources[position])? };
                    let size_bytes = block_bytes as u64;
                    written.push(Written { reservation: space.number, start: 0, size_bytes, checksum });
                    packed.extend_from_slice(&hashes.packed[position * hashes.hash_bytes..][..hashes.hash_bytes]);
                    positions.push(position);
                }
            }
        }
        if !written.is_empty() {
            let hashes = PackedHashes { hash_bytes: hashes.hash_bytes, packed: &packed };
            let without_room: Vec<u32> =
                lane.ask(&Request::Cache { namespace, ask: CacheRequest::Store { hashes, written } })?;
            for index in without_room {
                let position = positions.get(index as usize).copied();
                refused.push(position.ok_or_else(|| broken("the sidecar refused a block that was not sent"))?);
            }
        }
        refused.sort_unstable();
        Ok(refused)
    })
}
