/// The columns of a new [`Retweet`] that the caller supplies.
#[derive(::core::clone::Clone)]
pub struct NewRetweet {
    /// The tweet that was passed on, by [`Retweet::id`].
    pub tweet: i64,
    pub retweeter: i64,
    pub original_author: Option<i64>,
    pub tags: Vec<String>,
    pub place: Option<Place>,
}
/// The key of a [`Retweet`]: no two rows share `tweet` and `retweeter`.
pub struct RetweetKey {
    /// The tweet that was passed on, by [`Retweet::id`].
    pub tweet: i64,
    pub retweeter: i64,
}
/// A key of a [`Retweet`]: no two rows share `id`.
pub struct RetweetIdKey {
    pub id: i64,
}
#[doc(hidden)]
const _: () = {
    use ::upsertable::__private as __up;
    #[automatically_derived]
    impl __up::Clone for RetweetKey {
        #[inline]
        fn clone(&self) -> Self {
            Self {
                tweet: self.tweet,
                retweeter: self.retweeter,
            }
        }
    }
    #[automatically_derived]
    impl __up::Clone for RetweetIdKey {
        #[inline]
        fn clone(&self) -> Self {
            Self { id: self.id }
        }
    }
    #[automatically_derived]
    impl __up::fmt::Debug for NewRetweet {
        #[inline]
        fn fmt(&self, __f: &mut __up::fmt::Formatter<'_>) -> __up::fmt::Result {
            __up::show(
                __f,
                "NewRetweet tweet retweeter original_author tags place",
                (
                    &self.tweet,
                    &self.retweeter,
                    &self.original_author,
                    &(&self.tags as &dyn __up::fmt::Debug),
                    &(&self.place as &dyn __up::fmt::Debug),
                ),
            )
        }
    }
    #[automatically_derived]
    impl __up::fmt::Debug for RetweetKey {
        #[inline]
        fn fmt(&self, __f: &mut __up::fmt::Formatter<'_>) -> __up::fmt::Result {
            __up::show(__f, "RetweetKey tweet retweeter", (&self.tweet, &self.retweeter))
        }
    }
    #[automatically_derived]
    impl __up::fmt::Debug for RetweetIdKey {
        #[inline]
        fn fmt(&self, __f: &mut __up::fmt::Formatter<'_>) -> __up::fmt::Result {
            __up::show(__f, "RetweetIdKey id", (&self.id,))
        }
    }
    #[automatically_derived]
    impl __up::Model for Retweet {
        type New = NewRetweet;
        type Key = RetweetKey;
        const TABLE: &'static ::core::primitive::str = "model Retweet\0table retweets\0column id generated\0column tweet\0column retweeter\0column original_author create_only nullable\0column tags\0column place nullable\0key 1 2\0key 0";
        #[inline]
        fn unique_key(&self) -> RetweetKey {
            RetweetKey {
                tweet: self.tweet,
                retweeter: self.retweeter,
            }
        }
    }
    #[automatically_derived]
    impl __up::UniqueKey<Retweet> for RetweetKey {}
    #[automatically_derived]
    impl __up::CreateKey<Retweet> for RetweetKey {
        #[inline]
        fn store(self, __new: &mut NewRetweet) {
            __new.tweet = self.tweet;
            __new.retweeter = self.retweeter;
        }
    }
    #[automatically_derived]
    impl __up::UniqueKey<Retweet> for RetweetIdKey {
        const INDEX: ::core::primitive::usize = 1usize;
    }
    #[automatically_derived]
    impl<__DB: __up::Backend> __up::On<__DB> for Retweet
    where
        __DB: __up::CanHoldKey<i64>,
        __DB: __up::CanHold<Option<i64>>,
        for<'row> __DB: __up::CanHold<::sqlx::types::Json<&'row Vec<String>>>,
        for<'row> __DB: __up::CanHold<::sqlx::types::Json<&'row Option<Place>>>,
        __DB: __up::CanHold<__up::Maybe<::sqlx::types::Json<()>>>,
        __DB: __up::Reads<Retweet>,
    {
        fn work(__work: __up::RowOperation<'_, '_, __DB, Self>) {
            match __work {
                __up::Put(__new, __values) => {
                    __values
                        .put_all(
                            1usize,
                            (&__new.tweet, &__new.retweeter, &__new.original_author),
                        );
                    __values.put(4usize, &::sqlx::types::Json(&__new.tags));
                    match &__new.place {
                        __up::Some(_) => {
                            __values.put(5usize, &::sqlx::types::Json(&__new.place))
                        }
                        __up::None => {
                            __values
                                .put::<
                                    __up::Maybe<::sqlx::types::Json<()>>,
                                >(5usize, &__up::None)
                        }
                    }
                }
                __up::PutKey(__key, __values) => {
                    __values.put_all(1usize, (&__key.tweet, &__key.retweeter));
                }
                __up::PutOther(__key, __values) => {
                    if let __up::Some(__key) = __key.of::<RetweetIdKey>() {
                        __values.put(0usize, &__key.id);
                    }
                }
                __up::Types(__types) => {
                    __types
                        .put_all::<
                            (
                                i64,
                                i64,
                                i64,
                                Option<i64>,
                                ::sqlx::types::Json<&Vec<String>>,
                                __up::Maybe<::sqlx::types::Json<()>>,
                            ),
                        >();
                }
                __up::Read(__row) => __row.read(),
                __up::ReadKey(__row, __key) => {
                    if let __up::Some((__v1, __v2)) = __row.get_all(0usize) {
                        *__key = __up::Some(RetweetKey {
                            tweet: __v1,
                            retweeter: __v2,
                        });
                    }
                }
            }
        }
    }
};
