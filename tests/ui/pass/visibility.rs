#![deny(warnings, private_interfaces, private_bounds)]

mod outer {
    pub mod inner {
        use upsertable::Upsertable;

        #[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
        #[unique(a)]
        pub struct Public {
            #[upsertable(generated)]
            pub id: i64,
            pub(crate) a: i64,
            b: i64,
        }

        #[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
        #[unique(a)]
        pub(in crate::outer) struct Limited {
            #[upsertable(generated)]
            pub id: i64,
            pub(super) a: i64,
        }

        #[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
        #[unique(a)]
        struct Private {
            #[upsertable(generated)]
            id: i64,
            a: i64,
        }

        pub fn uses() -> i64 {
            let (new, private) = (NewPublic { a: 1, b: 2 }, Private { id: 1, a: 1 });
            new.a + new.b + private.id + private.key().a
        }
    }

    pub fn uses() -> i64 {
        let (new, key) = (inner::NewLimited { a: 1 }, inner::LimitedKey { a: 2 });
        new.a + key.a
    }
}

fn main() {
    fn local() -> i64 {
        #[derive(Debug, Clone, sqlx::FromRow, upsertable::Upsertable)]
        #[unique(a)]
        struct Local {
            #[upsertable(generated)]
            id: i64,
            a: i64,
        }
        let local = Local { id: 1, a: 2 };
        upsertable::Upsertable::key(&local).a + local.id
    }
    assert_eq!(local() + outer::uses() + outer::inner::uses(), 11);
    assert_eq!(outer::inner::PublicKey { a: 1 }.a, 1);
}
