internal import Bytes
internal import SystemPackage
internal import TensorModel

/// The container of pleat files: aligned parts, each with a checksum; see `formats/pleat.md`.
enum PleatFileContainer: Container {
  static let features: ContainerFeatures = [.provenance, .compression, .typedMetadata]
  static let suffixes = ["pleat"]

  static func recognizes(_ head: [UInt8]) -> Bool { head.starts(with: PleatFilePreamble.magic) }

  static func open(
    _ files: ModelFiles, limits: ReadLimits
  ) throws(ModelError) -> any StoredReader {
    try PleatFileReader(files, limits: limits)
  }

  static func layout(
    _ contents: Contents, _ options: WriteOptions
  ) throws(ModelError) -> any OutputLayout {
    PleatFileLayout(contents, options)
  }
}
