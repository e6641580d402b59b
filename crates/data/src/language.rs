//! Codes of languages: which short words are codes (ISO 639-1, 639-2, 639-3), and one spelling for each (BCP 47).
//!
//! Corpora name languages by two letters (OPUS), by three (Tatoeba: `eng`, `cmn`), and with regions in either order of habit (`pt_BR`, `zh-hant`).
//! In hua a language is a tag of BCP 47: the two letters where there are two, `zh-Hant`, `pt-BR`.

/// Two letters and the three of ISO 639-3, with the bibliographic code of 639-2 or the chief individual language behind, where there is one.
const CODES: &str = "aa aar|ab abk|ae ave|af afr|ak aka|am amh|an arg|ar ara arb|as asm|av ava|ay aym|az aze azj|ba bak|be bel|bg bul|bi bis|\
bm bam|bn ben|bo bod tib|br bre|bs bos|ca cat|ce che|ch cha|co cos|cr cre|cs ces cze|cu chu|cv chv|cy cym wel|da dan|de deu ger|dv div|dz dzo|\
ee ewe|el ell gre|en eng|eo epo|es spa|et est ekk|eu eus baq|fa fas per pes|ff ful|fi fin|fj fij|fo fao|fr fra fre|fy fry|ga gle|gd gla|gl glg|\
gn grn|gu guj|gv glv|ha hau|he heb|hi hin|ho hmo|hr hrv|ht hat|hu hun|hy hye arm|hz her|ia ina|id ind|ie ile|ig ibo|ii iii|ik ipk|io ido|\
is isl ice|it ita|iu iku|ja jpn|jv jav|ka kat geo|kg kon|ki kik|kj kua|kk kaz|kl kal|km khm|kn kan|ko kor|kr kau|ks kas|ku kur kmr|kv kom|\
kw cor|ky kir|la lat|lb ltz|lg lug|li lim|ln lin|lo lao|lt lit|lu lub|lv lav lvs|mg mlg|mh mah|mi mri mao|mk mkd mac|ml mal|mn mon khk|mr mar|\
ms msa may zsm|mt mlt|my mya bur|na nau|nb nob|nd nde|ne nep npi|ng ndo|nl nld dut|nn nno|no nor|nr nbl|nv nav|ny nya|oc oci|oj oji|om orm|or ori|\
os oss|pa pan|pi pli|pl pol|ps pus|pt por|qu que|rm roh|rn run|ro ron rum|ru rus|rw kin|sa san|sc srd|sd snd|se sme|sg sag|si sin|sk slk slo|\
sl slv|sm smo|sn sna|so som|sq sqi alb|sr srp|ss ssw|st sot|su sun|sv swe|sw swa swh|ta tam|te tel|tg tgk|th tha|ti tir|tk tuk|tl tgl fil|tn tsn|\
to ton|tr tur|ts tso|tt tat|tw twi|ty tah|ug uig|uk ukr|ur urd|uz uzb uzn|ve ven|vi vie|vo vol|wa wln|wo wol|xh xho|yi yid ydd|yo yor|za zha|\
zh zho chi cmn|zu zul";
/// Languages of three letters that have no two, of those that corpora of many languages have most of.
const THREE: &str = "arq ary arz ast awa bho bar ber ceb ckb csb dsb dtp frp fur gsw hak haw hne hsb jbo kab ilo lfn lij lld lmo ltg lzh mai mhr \
mni mwl nah nan nap nds nov nst ota pam pcd pms rue sah sat scn sco shi shp shs szl tlh tok tpi tzl vec vls vro war wuu yue zgh zza";

/// The tag of BCP 47 for a code, if it is one: `eng` is `en`, `cmn` is `zh`, `pt_br` is `pt-BR`, `zh-hant` is `zh-Hant`.
///
/// ```
/// use hua_data::parallel::language;
///
/// assert_eq!(language("cmn").as_deref(), Some("zh"));
/// assert_eq!(language("zh_hant_tw").as_deref(), Some("zh-Hant-TW"));
/// assert_eq!(language("caption"), None);
/// ```
pub fn language(code: &str) -> Option<String> {
    let lower = code.trim().to_ascii_lowercase();
    let mut parts = lower.split(['-', '_']);
    let mut tag = primary(parts.next()?)?.to_owned();
    let mut last = 0;
    for part in parts {
        let letters = part.bytes().all(|b| b.is_ascii_alphabetic());
        let (order, part) = match part.len() {
            4 if letters => (1, part[..1].to_ascii_uppercase() + &part[1..]),
            2 if letters => (2, part.to_ascii_uppercase()),
            3 if part.bytes().all(|b| b.is_ascii_digit()) => (2, part.to_owned()),
            _ => return None,
        };
        // A script, then a region, each at most once.
        if order <= last {
            return None;
        }
        last = order;
        tag.push('-');
        tag.push_str(&part);
    }
    Some(tag)
}

fn primary(code: &str) -> Option<&str> {
    if code.len() < 2 {
        return None;
    }
    let two = CODES.split('|').find_map(|line| line.split(' ').any(|known| known == code).then(|| &line[..2]));
    two.or_else(|| THREE.split(' ').find(|known| *known == code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_all_habits_become_one_tag() {
        for (code, tag) in [
            ("en", Some("en")),
            ("ENG", Some("en")),
            ("cmn", Some("zh")),
            ("chi", Some("zh")),
            ("deu", Some("de")),
            ("fil", Some("tl")),
            ("yue", Some("yue")),
            (" pt_BR ", Some("pt-BR")),
            ("zh-hant", Some("zh-Hant")),
            ("es-419", Some("es-419")),
            ("zh-TW-Hant", None),
            ("en-US-US", None),
            ("en-x", None),
            ("id2", None),
            ("text", None),
            ("e", None),
            ("", None),
            ("é", None),
            ("a|b", None),
        ] {
            assert_eq!(language(code).as_deref(), tag, "{code}");
        }
    }

    #[test]
    fn each_code_stands_for_one_language() {
        let mut codes: Vec<&str> = CODES.split(['|', ' ']).collect();
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count);
        assert_eq!(CODES.split('|').count(), 183);
    }
}
