internal import Bytes
internal import SystemPackage
internal import TensorModel

/// Files of llama.cpp: typed metadata, then aligned tensors; a large model may be several files.
enum GGUFContainer: Container {
  static let suffixes = ["gguf"]

  static func recognizes(_ head: [UInt8]) -> Bool { head.starts(with: GGUFHeader.magic) }

  static func open(
    _ place: ModelPlace, limits: ReadLimits
  ) throws(ModelError) -> any StoredReader {
    try GGUFReader(place, limits: limits)
  }

  static func layout(
    _ contents: Contents, _ options: WriteOptions
  ) throws(ModelError) -> any OutputLayout {
    try GGUFLayout(contents, options)
  }
}
