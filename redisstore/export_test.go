package redisstore

// StructLua is the first part of all scripts.
var StructLua = structLua
