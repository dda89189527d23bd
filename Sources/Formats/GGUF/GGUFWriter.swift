internal import Bytes
internal import SystemPackage
internal import TensorModel

/// Writes the files that a `GGUFLayout` has planned.
final class GGUFWriter: TensorSink {
  private let layout: GGUFLayout
  private let staging: Staging
  private let files: ShardFiles

  init(
    _ layout: GGUFLayout, replacing: Bool, resumption: Staging.Resumption?
  ) throws(ModelError) {
    self.layout = layout
    staging = try Staging(
      layout.options.path, isFolder: false, names: layout.fileNames, replacing: replacing,
      resumption: resumption)
    files = try ShardFiles(staging, layout.plans, layout.offsets, layout.contents.stored)
  }

  /// Takes over files that parts have filled.
  init(
    _ layout: GGUFLayout, finishing parts: PartFolder, replacing: Bool
  ) throws(ModelError) {
    self.layout = layout
    staging = try Staging(
      finishing: parts, isFolder: false, names: layout.fileNames, filled: layout.fileNames,
      replacing: replacing)
    files = try ShardFiles(
      staging, layout.plans, layout.offsets, layout.contents.stored, areFilled: true)
  }

  func write(_ block: [PartBlock], ticket: Int) throws(ModelError) {
    try files.write(block)
  }

  func isKept(_ stored: Int) -> Bool { files.isKept(stored) }

  func writeCompanion(_ index: Int, at offset: Int, _ bytes: [UInt8]) throws(ModelError) {}

  func seal(sources: [SourceFile]) throws(ModelError) -> WrittenSize {
    try staging.synchronize()
    return WrittenSize(byteCount: layout.byteCount, tensorByteCount: layout.tensorByteCount)
  }

  var sealedPath: FilePath { staging.path(of: layout.files[0].name) }

  // Readers open a split set by its first file.
  func publish() throws(ModelError) { try staging.publish(guards: [layout.files[0].name]) }
}
