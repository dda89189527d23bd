internal import Bytes
internal import SystemPackage
internal import TensorModel

/// Files of Hugging Face: a JSON header and raw tensors; a folder of them makes a checkpoint.
enum SafetensorsContainer: Container {
  static let suffixes = ["safetensors"]

  static func recognizes(_ head: [UInt8]) -> Bool {
    // A length, then an object; the length of a sane header leaves the last three bytes zero.
    head.count >= 9 && head[5...7].allSatisfy { $0 == 0 }
      && head[8...].first { !" \n\r\t".utf8.contains($0) } == UInt8(ascii: "{")
  }

  static func open(
    _ place: ModelPlace, limits: ReadLimits
  ) throws(ModelError) -> any StoredReader {
    try SafetensorsReader(place, limits: limits)
  }

  static func layout(
    _ contents: Contents, _ options: WriteOptions
  ) throws(ModelError) -> any OutputLayout {
    SafetensorsLayout(contents, options)
  }
}
