/// The three ways to the service behind a door.
macro_rules! inner_accessors {
    ($inner:ty) => {
        /// The service behind the door.
        pub const fn get_ref(&self) -> &$inner {
            &self.inner
        }

        /// The service behind the door.
        pub const fn get_mut(&mut self) -> &mut $inner {
            &mut self.inner
        }

        /// Takes the service out from behind the door.
        pub fn into_inner(self) -> $inner {
            self.inner
        }
    };
}

pub(crate) use inner_accessors;
