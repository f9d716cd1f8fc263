from django.urls import path

from media_library.views import downloads, exchange, uploads

# Under /admin/, so that the pages use the admin's layout.
urlpatterns = [
    path("admin/media/import/", exchange.import_new, name="media-import-new"),
    path("admin/media/playlists/<int:pk>/import/", exchange.import_into, name="media-import"),
    path("admin/media/upload/", uploads.page, name="media-upload"),
    path("admin/media/download/", downloads.page, name="media-download"),
    path("admin/media/download-tool/", downloads.tool, name="media-download-tool"),
]
