//! The derive macro of `haptic-guest`, which re-exports and documents it. Owns what
//! `#[derive(Resource)]` expands to; what the expansion calls is in `haptic_guest::resource`.

mod attributes;
mod duration;
mod expand;
mod path;

use proc_macro::TokenStream;

/// See `haptic_guest::Resource`.
#[proc_macro_derive(Resource, attributes(resource, field))]
pub fn derive_resource(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    expand::expand(&input)
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}
