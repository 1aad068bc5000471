//! Facts about a field's type that its tokens show.

use syn::{GenericArgument, PathArguments, Type};

/// Tests if the type is written as an `Option`.
///
/// One behind an alias is found by the compiler, in constants that the derive writes.
pub(crate) fn is_option(ty: &Type) -> bool {
    option_of(ty).is_some()
}

/// The type `T` of a type written as `Option<T>`.
///
/// An `Option` without an argument is a type of the user's.
fn option_of(ty: &Type) -> Option<&Type> {
    match ty {
        Type::Group(group) => option_of(&group.elem),
        Type::Paren(paren) => option_of(&paren.elem),
        Type::Path(path) => {
            let last = path.path.segments.last().filter(|last| last.ident == "Option")?;
            let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
            let Some(GenericArgument::Type(of)) = arguments.args.first() else { return None };
            Some(of)
        }
        _ => None,
    }
}

/// The type `T` of `Option<T>`, and any other type itself.
pub(crate) fn without_option(ty: &Type) -> &Type {
    option_of(ty).unwrap_or(ty)
}

/// Tests if the type is a number, `bool`, `char` or `String`.
///
/// It goes by the name. An `Option` is none of these.
pub(crate) fn is_plain(ty: &Type) -> bool {
    const PLAIN: [&str; 15] =
        ["String", "bool", "char", "f32", "f64", "i128", "i16", "i32", "i64", "i8", "u128", "u16", "u32", "u64", "u8"];
    let Type::Path(path) = ty else { return false };
    path.path.get_ident().is_some_and(|ident| PLAIN.contains(&ident.to_string().as_str()))
}
