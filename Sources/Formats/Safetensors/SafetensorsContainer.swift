internal import Bytes
internal import SystemPackage
internal import TensorModel

/// The safetensors container: a JSON header and raw tensors.
///
/// A Hugging Face checkpoint is a folder of such files.
enum SafetensorsContainer: Container {
  static let features: ContainerFeatures = [.shards]
  static let suffixes = ["safetensors"]

  static func recognizes(_ head: [UInt8]) -> Bool {
    // A length, then an object. The length of a real header leaves the last three bytes zero.
    head.count >= 9 && head[5...7].allSatisfy { $0 == 0 }
      && head[8...].first { !" \n\r\t".utf8.contains($0) } == UInt8(ascii: "{")
  }

  static func open(
    _ files: ModelFiles, limits: ReadLimits
  ) throws(ModelError) -> any StoredReader {
    try SafetensorsReader(files, limits: limits)
  }

  static func layout(
    _ contents: Contents, _ options: WriteOptions
  ) throws(ModelError) -> any OutputLayout {
    SafetensorsLayout(contents, options)
  }
}
