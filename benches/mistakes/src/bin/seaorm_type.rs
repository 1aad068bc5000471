#![allow(unused)]
mod song {
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq)]
    pub struct Cover;
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "songs")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub slug: String,
        pub cover: Cover,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}
use sea_orm::*;
use song::*;

fn main() {}
