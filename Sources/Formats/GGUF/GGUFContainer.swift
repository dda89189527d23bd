internal import Bytes
internal import SystemPackage
internal import TensorModel

/// The GGUF container of llama.cpp: typed metadata, then aligned tensors.
///
/// A model may be split into several files.
enum GGUFContainer: Container {
  static let features: ContainerFeatures = [.shards, .typedMetadata]
  static let suffixes = ["gguf"]

  static func recognizes(_ head: [UInt8]) -> Bool { head.starts(with: GGUFHeader.magic) }

  static func open(
    _ files: ModelFiles, limits: ReadLimits
  ) throws(ModelError) -> any StoredReader {
    try GGUFReader(files, limits: limits)
  }

  static func layout(
    _ contents: Contents, _ options: WriteOptions
  ) throws(ModelError) -> any OutputLayout {
    try GGUFLayout(contents, options)
  }
}
