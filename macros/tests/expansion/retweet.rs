/// The columns of a new [`Retweet`] that the caller supplies.
#[derive(::core::fmt::Debug, ::core::clone::Clone)]
pub struct NewRetweet {
    /// The tweet that was passed on, by [`Retweet::id`].
    pub tweet: i64,
    pub retweeter: i64,
    pub original_author: Option<i64>,
    pub tags: Vec<String>,
    pub place: Option<Place>,
}
/// The key of a [`Retweet`]: no two rows share `tweet` and `retweeter`.
#[derive(::core::fmt::Debug, ::core::clone::Clone)]
pub struct RetweetKey {
    /// The tweet that was passed on, by [`Retweet::id`].
    pub tweet: i64,
    pub retweeter: i64,
}
/// A key of a [`Retweet`]: no two rows share `id`.
#[derive(::core::fmt::Debug, ::core::clone::Clone)]
pub struct RetweetIdKey {
    pub id: i64,
}
#[doc(hidden)]
const _: () = {
    use ::upsertable::__private as __up;
    use __up::Plain as _;
    const __COLUMNS: &[__up::Column] = &[
        __up::Column {
            field: "id",
            name: "id",
            generated: true,
            create_only: false,
            nullable: __up::Probe::<i64>::NULLABLE,
        },
        __up::Column {
            field: "tweet",
            name: "tweet",
            generated: false,
            create_only: false,
            nullable: __up::Probe::<i64>::NULLABLE,
        },
        __up::Column {
            field: "retweeter",
            name: "retweeter",
            generated: false,
            create_only: false,
            nullable: __up::Probe::<i64>::NULLABLE,
        },
        __up::Column {
            field: "original_author",
            name: "original_author",
            generated: false,
            create_only: true,
            nullable: __up::Probe::<Option<i64>>::NULLABLE,
        },
        __up::Column {
            field: "tags",
            name: "tags",
            generated: false,
            create_only: false,
            nullable: false,
        },
        __up::Column {
            field: "place",
            name: "place",
            generated: false,
            create_only: false,
            nullable: true,
        },
    ];
    const __KEYS: &[__up::Key] = &[
        __up::Key {
            name: "RetweetKey",
            columns: &[1usize, 2usize],
            nulls_not_distinct: false,
        },
        __up::Key {
            name: "RetweetIdKey",
            columns: &[0usize],
            nulls_not_distinct: false,
        },
    ];
    static __TABLE: __up::Table = __up::Table::new(
        "Retweet",
        ::core::option::Option::None,
        "retweets",
        __COLUMNS,
        __KEYS,
    );
    pub enum __Keys {
        K0(RetweetKey),
        K1(RetweetIdKey),
    }
    #[automatically_derived]
    impl __up::Upsertable for Retweet {
        type New = NewRetweet;
        type Key = RetweetKey;
        type Keys = __Keys;
        fn table() -> &'static __up::Table {
            &__TABLE
        }
        fn key(&self) -> RetweetKey {
            RetweetKey {
                tweet: ::core::clone::Clone::clone(&self.tweet),
                retweeter: ::core::clone::Clone::clone(&self.retweeter),
            }
        }
    }
    #[automatically_derived]
    impl __up::UniqueKey<Retweet> for RetweetKey {
        const INDEX: ::core::primitive::usize = 0usize;
        fn into_keys(self) -> __Keys {
            __Keys::K0(self)
        }
    }
    #[automatically_derived]
    impl __up::CreateKey<Retweet> for RetweetKey {
        fn store(self, __new: &mut NewRetweet) {
            __new.tweet = self.tweet;
            __new.retweeter = self.retweeter;
        }
    }
    #[automatically_derived]
    impl __up::UniqueKey<Retweet> for RetweetIdKey {
        const INDEX: ::core::primitive::usize = 1usize;
        fn into_keys(self) -> __Keys {
            __Keys::K1(self)
        }
    }
    #[automatically_derived]
    impl __up::Row<NewRetweet> for NewRetweet {
        type Error = __up::Error;
        fn into_row(self) -> ::core::result::Result<Self, __up::Error> {
            ::core::result::Result::Ok(self)
        }
    }
    #[automatically_derived]
    impl<__DB: __up::Backend> __up::On<__DB> for Retweet
    where
        __DB: __up::HoldsKey<i64>,
        __DB: __up::Holds<Option<i64>>,
        for<'r> __DB: __up::Holds<::sqlx::types::Json<&'r Vec<String>>>,
        for<'r> __DB: __up::Holds<::sqlx::types::Json<&'r Option<Place>>>,
        __DB: __up::Holds<::core::option::Option<::sqlx::types::Json<()>>>,
        __DB: __up::Reads<Retweet>,
    {
        fn put(
            __new: &NewRetweet,
            __values: &mut __up::Values<'_, __DB>,
        ) -> ::core::result::Result<(), __up::SqlxError> {
            __values.put(1usize, &__new.tweet)?;
            __values.put(2usize, &__new.retweeter)?;
            __values.put(3usize, &__new.original_author)?;
            __values.put(4usize, &::sqlx::types::Json(&__new.tags))?;
            match &__new.place {
                ::core::option::Option::Some(_) => {
                    __values.put(5usize, &::sqlx::types::Json(&__new.place))?
                }
                ::core::option::Option::None => {
                    __values
                        .put::<
                            ::core::option::Option<::sqlx::types::Json<()>>,
                        >(5usize, &::core::option::Option::None)?
                }
            }
            ::core::result::Result::Ok(())
        }
        fn put_key(
            __key: &__Keys,
            __values: &mut __up::Values<'_, __DB>,
        ) -> ::core::result::Result<(), __up::SqlxError> {
            match __key {
                __Keys::K0(__key) => {
                    __values.put(1usize, &__key.tweet)?;
                    __values.put(2usize, &__key.retweeter)?;
                }
                __Keys::K1(__key) => {
                    __values.put(0usize, &__key.id)?;
                }
            }
            ::core::result::Result::Ok(())
        }
        fn types(__types: &mut __up::Types<__DB>) {
            __types.put::<i64>();
            __types.put::<i64>();
            __types.put::<i64>();
            __types.put::<Option<i64>>();
            __types.put::<::sqlx::types::Json<&Vec<String>>>();
            __types.put::<::core::option::Option<::sqlx::types::Json<()>>>();
        }
        fn read(
            __row: &<__DB as __up::Database>::Row,
        ) -> ::core::result::Result<Self, __up::SqlxError> {
            <__DB as __up::Reads<Self>>::read(__row)
        }
        fn read_key(
            __row: &__up::KeyRow<'_, __DB>,
        ) -> ::core::result::Result<RetweetKey, __up::SqlxError> {
            ::core::result::Result::Ok(RetweetKey {
                tweet: __row.get(1usize)?,
                retweeter: __row.get(2usize)?,
            })
        }
    }
    const _: () = ::core::assert!(
        ! __up::Probe:: < i64 > ::NULLABLE,
        "`id` is part of a key and can be NULL, and a unique index lets any number of NULLs in: use a type that is not an `Option`, or `#[unique(.., nulls_not_distinct)]` where the index is `NULLS NOT DISTINCT` (PostgreSQL 15 and later)"
    );
    const _: () = ::core::assert!(
        ! __up::Probe:: < i64 > ::NULLABLE,
        "`tweet` is part of a key and can be NULL, and a unique index lets any number of NULLs in: use a type that is not an `Option`, or `#[unique(.., nulls_not_distinct)]` where the index is `NULLS NOT DISTINCT` (PostgreSQL 15 and later)"
    );
    const _: () = ::core::assert!(
        ! __up::Probe:: < i64 > ::NULLABLE,
        "`retweeter` is part of a key and can be NULL, and a unique index lets any number of NULLs in: use a type that is not an `Option`, or `#[unique(.., nulls_not_distinct)]` where the index is `NULLS NOT DISTINCT` (PostgreSQL 15 and later)"
    );
};
