//! The least input that still finds what a larger one found.

/// The most tries: a minimum is a convenience.
const TRIES: usize = 4000;

/// Takes octets away, and makes others plain, as long as `still_finds`.
pub fn minimise(input: &[u8], mut still_finds: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut least = input.to_vec();
    let mut tries = 0;
    let mut size = least.len().div_ceil(2);
    while size > 0 && tries < TRIES {
        let (mut at, mut shorter) = (0, false);
        while at < least.len() && tries < TRIES {
            let mut candidate = least.clone();
            candidate.drain(at..least.len().min(at + size));
            tries += 1;
            if still_finds(&candidate) {
                (least, shorter) = (candidate, true);
            } else {
                at += size;
            }
        }
        if !shorter || size > 1 {
            size /= 2;
        }
    }
    plain(least, TRIES.saturating_sub(tries), still_finds)
}

/// Exchanges octets for letters where they do not matter.
fn plain(mut least: Vec<u8>, tries: usize, mut still_finds: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    for at in 0..least.len().min(tries) {
        let before = std::mem::replace(&mut least[at], b'a');
        if before != b'a' && !still_finds(&least) {
            least[at] = before;
        }
    }
    least
}
