//! The code that a program links only if its schemas use it.
//!
//! A schema points to the function that checks its values. The constructors of schemas take these
//! pointers from here, and nothing else refers to the functions, so that a chip whose tools take
//! only numbers and strings links no code for variants and arrays. A list of names points in the
//! same way to the function that writes it in an error text.
//!
//! The documentation of each `enable_…` states the bytes of flash that a program without such a
//! schema saves on a Cortex-M4. `tests/no-panic/extras.py` measures them.

use super::check::{self, Rule};
use super::error::{self, WriteNames};

/// 336 bytes: strings that are one of several names, such as the variants of an enum.
pub(super) const fn enable_names() -> Rule {
    check::names
}

/// 640 bytes.
pub(super) const fn enable_number_bounds() -> Rule {
    check::range
}

/// 644 bytes.
pub(super) const fn enable_text_bounds() -> Rule {
    check::length
}

/// 444 bytes.
pub(super) const fn enable_arrays() -> Rule {
    check::array
}

/// 456 bytes.
pub(super) const fn enable_tuples() -> Rule {
    check::tuple
}

/// 252 bytes.
pub(super) const fn enable_maps() -> Rule {
    check::map
}

/// 524 bytes: enums whose variant is named by a member.
pub(super) const fn enable_tagged_variants() -> Rule {
    check::by_tag
}

/// 684 bytes: enums whose variant is named by the only member.
pub(super) const fn enable_keyed_variants() -> Rule {
    check::by_key
}

/// 564 bytes: enums whose variant is the first that fits.
pub(super) const fn enable_untagged_variants() -> Rule {
    check::by_fit
}

/// Not in `extras.py`, because `schemars` is for servers.
#[cfg(feature = "schemars")]
pub(super) const fn enable_external_schemas() -> Rule {
    check::external
}

/// Part of [`enable_names`].
pub(super) const fn enable_plain_names() -> WriteNames {
    error::write_plain
}

/// Part of every object, because an error lists its members.
pub(super) const fn enable_property_names() -> WriteNames {
    error::write_properties
}

/// Part of [`enable_tagged_variants`] and [`enable_keyed_variants`].
pub(super) const fn enable_variant_names() -> WriteNames {
    error::write_variants
}

/// Part of a schema that is read at run time, for the values of its `enum`.
pub(super) const fn enable_element_names() -> WriteNames {
    error::write_elements
}

/// Part of a schema that is read at run time, for the members of its objects.
pub(super) const fn enable_member_names() -> WriteNames {
    error::write_members
}
