use proptest::prelude::*;

use super::*;
use crate::audit::Entry;
use crate::audit::append::Tellable;
use crate::dynamo::string;

fn trail() -> Trail {
    Trail::of_conversation("c-1")
}

/// A trail of this many entries, and its head.
fn written(length: u64) -> (Vec<Item>, Option<Item>) {
    written_of("transfer-completed", length)
}

fn written_of(action: &str, length: u64) -> (Vec<Item>, Option<Item>) {
    let trail = trail();
    let mut head = None;
    let mut entries = Vec::new();
    for number in 0..length {
        let entry = Entry::new(action).with("number", number).with("nothing", None::<&str>);
        let (item, next) =
            Tellable::new(&trail, &entry, jiff::Timestamp::UNIX_EPOCH).at_its_place(head.as_ref());
        entries.push(item);
        head = Some(next);
    }
    (entries, head.map(|head| head.item(&trail)))
}

fn fault(entries: &[Item], head: Option<&Item>) -> Fault {
    verify(&trail(), entries, head).expect_err("the trail was tampered with")
}

/// The items, each under the sort key of its place: what somebody leaves who covers their tracks.
fn renumbered(mut entries: Vec<Item>) -> Vec<Item> {
    for (sequence, item) in (1..).zip(&mut entries) {
        item.insert("sk".to_owned(), string(&sort_key(sequence)));
    }
    entries
}

#[test]
fn a_trail_is_as_it_was_written() {
    let (entries, head) = written(3);
    let verified = verify(&trail(), &entries, head.as_ref()).unwrap();
    assert_eq!(verified.entries.len(), 3);
    assert_eq!(verified.entries[2]["number"], 2);
    assert_eq!(verified.entries[0]["previous"], Value::Null);
    assert!(verified.entries[0].get("nothing").is_none());
    assert_eq!(verify(&trail(), &[], None).unwrap(), Verified { entries: Vec::new(), hash: None });
}

#[test]
fn an_edit_shows() {
    let (entries, head) = written(3);
    let body = text(&entries[1], "entry").unwrap().replace("transfer-completed", "transfer-refused");
    let mut edited = entries.clone();
    edited[1].insert("entry".to_owned(), string(&body));
    assert_eq!(fault(&edited, head.as_ref()), Fault::Changed(2));
    // With its own hash mended, it is the next that does not follow.
    edited[1].insert("hash".to_owned(), string(&digest(body.as_bytes())));
    assert_eq!(fault(&edited, head.as_ref()), Fault::Unlinked(3));
    // The last has none after it; its head tells.
    let mut edited = entries;
    let body = text(&edited[2], "entry").unwrap().replace("\"number\":2", "\"number\":9");
    edited[2].insert("hash".to_owned(), string(&digest(body.as_bytes())));
    edited[2].insert("entry".to_owned(), string(&body));
    assert_eq!(fault(&edited, head.as_ref()), Fault::CutOff { entries: 3 });
}

#[test]
fn a_deletion_shows() {
    let (entries, head) = written(4);
    for gone in 0..3 {
        let mut left = entries.clone();
        left.remove(gone);
        assert_eq!(fault(&left, head.as_ref()), Fault::OutOfOrder(gone as u64 + 1));
        assert_eq!(fault(&renumbered(left), head.as_ref()), Fault::OutOfOrder(gone as u64 + 1));
    }
}

#[test]
fn an_insertion_shows() {
    let (entries, head) = written(3);
    for place in 0..=3 {
        let mut more = entries.clone();
        more.insert(place, written_of("transfer-refused", 1).0.remove(0));
        assert!(verify(&trail(), &renumbered(more), head.as_ref()).is_err(), "at {place}");
    }
}

#[test]
fn a_move_shows() {
    let (mut entries, head) = written(3);
    entries.swap(0, 1);
    assert_eq!(fault(&entries, head.as_ref()), Fault::OutOfOrder(1));
    assert_eq!(fault(&renumbered(entries), head.as_ref()), Fault::OutOfOrder(1));
}

#[test]
fn a_cut_shows() {
    let (mut entries, head) = written(3);
    entries.pop();
    assert_eq!(fault(&entries, head.as_ref()), Fault::CutOff { entries: 2 });
    assert_eq!(fault(&[], head.as_ref()), Fault::CutOff { entries: 0 });
    assert_eq!(fault(&entries, None), Fault::Headless);
    let strange = Item::from([("v".to_owned(), number(2))]);
    assert_eq!(fault(&entries, Some(&strange)), Fault::Headless);
}

#[test]
fn an_entry_of_another_trail_shows() {
    let (entries, head) = written(1);
    let other = Trail::of_conversation("c-2");
    assert!(verify(&other, &entries, head.as_ref()).is_err());
}

proptest! {
    #[test]
    fn no_changed_byte_goes_unnoticed(entry in 0_usize..3, place in any::<prop::sample::Index>(), letter in "[a-z0-9]") {
        let (mut entries, head) = written(3);
        let body = text(&entries[entry], "entry").unwrap().to_owned();
        let place = place.index(body.len());
        prop_assume!(body[place..=place] != letter);
        let changed = format!("{}{letter}{}", &body[..place], &body[place + 1..]);
        entries[entry].insert("entry".to_owned(), string(&changed));
        prop_assert!(verify(&trail(), &entries, head.as_ref()).is_err());
    }
}
