internal import Bytes
internal import SystemPackage
internal import TensorModel

/// Pleat's own file, `formats/pleat.md`: parts at aligned places, each with a checksum.
enum PackedContainer: Container {
  static let suffixes = ["pleat"]

  static func recognizes(_ head: [UInt8]) -> Bool { head.starts(with: PackedPreamble.magic) }

  static func open(
    _ place: ModelPlace, limits: ReadLimits
  ) throws(ModelError) -> any StoredReader {
    try PackedReader(place, limits: limits)
  }

  static func layout(
    _ contents: Contents, _ options: WriteOptions
  ) throws(ModelError) -> any OutputLayout {
    PackedLayout(contents, options)
  }
}
