"""DICOM series and segmentations: headers, grouping, geometry, pixels; nothing of the patient."""
