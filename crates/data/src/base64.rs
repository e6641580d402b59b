//! Base64 as data sets have it: of the standard or the URL-safe alphabet, padded or not.
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// The bytes that `encoded` stands for, whichever alphabet it is in.
///
/// # Errors
/// What is wrong with it.
pub fn decode_base64(encoded: impl AsRef<[u8]>) -> Result<Vec<u8>, base64::DecodeError> {
    let encoded = encoded.as_ref();
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if encoded.iter().any(|byte| matches!(byte, b'-' | b'_')) { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    GeneralPurpose::new(alphabet, config).decode(encoded)
}

#[cfg(test)]
mod tests {
    use super::decode_base64;

    #[test]
    fn both_alphabets_are_read_padded_or_not() {
        for encoded in ["+/8=", "-_8=", "+/8", "-_8"] {
            assert_eq!(decode_base64(encoded).unwrap(), [251, 255]);
        }
        assert!(decode_base64("+_8=").is_err());
        assert!(decode_base64("\u{8679}").is_err());
    }
}
