use proptest::prelude::*;

use super::*;

/// A message with this id, these flags and response code, one question `name IN A`, and `tail` behind it.
fn message(id: u16, flags: u8, code: u8, name: &str, tail: &[u8]) -> Vec<u8> {
    let mut octets = vec![0; HEADER];
    octets[..2].copy_from_slice(&id.to_be_bytes());
    (octets[2], octets[3], octets[5]) = (flags, code, 1);
    for label in name.split('.') {
        octets.push(label.len() as u8);
        octets.extend(label.as_bytes());
    }
    octets.extend([0, 0, 1, 0, 1]);
    octets.extend(tail);
    octets
}

#[test]
fn responses_are_judged_by_id_question_and_code() {
    let query = message(7, 1, 0, "example.com", &[]);
    let mut no_question = message(7, RESPONSE, 2, "example.com", &[]);
    no_question.truncate(HEADER);
    no_question[5] = 0;
    let mut no_question_no_error = no_question.clone();
    no_question_no_error[3] = 0;
    for (what, response, expected) in [
        ("answer", message(7, RESPONSE, 0, "example.com", &[1, 2, 3]), Verdict::Answer),
        ("other case", message(7, RESPONSE, 0, "eXample.COM", &[]), Verdict::Answer),
        ("NXDOMAIN", message(7, RESPONSE, 3, "example.com", &[]), Verdict::Answer),
        ("truncated", message(7, RESPONSE | TRUNCATED, 0, "example.com", &[]), Verdict::Truncated),
        ("SERVFAIL", message(7, RESPONSE, 2, "example.com", &[]), Verdict::Failure),
        ("REFUSED", message(7, RESPONSE, 5, "example.com", &[]), Verdict::Failure),
        ("SERVFAIL without question", no_question, Verdict::Failure),
        ("no question", no_question_no_error, Verdict::Alien),
        ("other id", message(8, RESPONSE, 0, "example.com", &[]), Verdict::Alien),
        ("a query", message(7, 0, 0, "example.com", &[]), Verdict::Alien),
        ("other name", message(7, RESPONSE, 0, "example.org", &[]), Verdict::Alien),
        ("longer name", message(7, RESPONSE, 0, "a.example.com", &[]), Verdict::Alien),
        ("other opcode", message(7, RESPONSE | 0b1_0000, 0, "example.com", &[]), Verdict::Alien),
        ("nothing", Vec::new(), Verdict::Alien),
    ] {
        assert_eq!(judge(&query, &response), expected, "{what}");
    }
}

#[test]
fn the_question_is_found_only_where_it_is_whole_and_plain() {
    let whole = message(1, 0, 0, "example.com", &[]);
    assert_eq!(Message::new(&whole).expect("a header").question(), Some(HEADER..whole.len()));
    for cut in HEADER..whole.len() {
        assert_eq!(Message::new(&whole[..cut]).expect("a header").question(), None, "cut to {cut}");
    }
    let long = message(1, 0, 0, &["a"; 200].join("."), &[]);
    assert_eq!(Message::new(&long).expect("a header").question(), None);
    let mut pointer = whole.clone();
    pointer[HEADER] = 0xc0;
    assert_eq!(Message::new(&pointer).expect("a header").question(), None);
    let mut two = whole;
    two[5] = 2;
    assert_eq!(Message::new(&two).expect("a header").question(), None);
}

#[test]
fn a_response_gets_the_clients_id_and_case() {
    let client = message(0x1234, 1, 0, "eXaMpLe.com", &[]);
    let mut response = message(7, RESPONSE, 0, "example.com", b"tail");
    address_to(&client, &mut response);
    assert_eq!(response, message(0x1234, RESPONSE, 0, "eXaMpLe.com", b"tail"));
}

#[test]
fn what_does_not_fit_is_cut_behind_the_question() {
    let response = message(7, RESPONSE, 3, "example.com", &[9; 600]);
    let fitted = |limit| {
        let mut response = response.clone();
        fit(&mut response, limit);
        response
    };
    assert_eq!(fitted(629), response);
    assert_eq!(fitted(512), message(7, RESPONSE | TRUNCATED, 3, "example.com", &[]));
}

proptest! {
    #[test]
    fn nothing_fails_on_arbitrary_octets(
        query in prop::collection::vec(any::<u8>(), HEADER..80),
        mut response in prop::collection::vec(any::<u8>(), HEADER..80),
        limit in 0..80_usize,
    ) {
        judge(&query, &response);
        judge(&query, &query);
        address_to(&query, &mut response);
        let mut fitted = response.clone();
        fit(&mut fitted, limit);
        prop_assert!(fitted.len() <= response.len());
        Message::new(&fitted).expect("the header stays").question();
        bare_reply(Message::new(&query).expect("long enough"), 1, &mut response);
    }
}
