//! Words, seams and sans-IO codecs of tower-oauth.
