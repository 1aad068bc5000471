#![allow(unused)]
mod song {
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "songs")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub slug: String,
        pub title: String,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}
use sea_orm::*;
use song::*;
async fn f(db: &DatabaseConnection, new: ActiveModel) -> Result<(), DbErr> {
    Entity::insert(new)
        .on_conflict(sea_query::OnConflict::column(Column::Slgu).do_nothing().to_owned())
        .exec(db)
        .await?;
    Ok(())
}
fn main() {}
